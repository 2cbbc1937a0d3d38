from transformers import AutoTokenizer

from mets_ecg.data.reports.english import render_english
from mets_ecg.data.reports.vocabulary import report_tokenizer


def test_words_of_english_reports_are_one_token_each():
    tokenizer = report_tokenizer()
    assert 500 < len(tokenizer) <= 4000
    text = render_english("sinusrhythmus linkstyp qrs(t) abnorm inferiorer infarkt alter unbest.").text
    tokens = tokenizer.tokenize(text)
    assert tokens[:3] == ["sinus", "rhythm", "."] and "[UNK]" not in tokens
    assert not any(token.startswith("##") for token in tokens)


def test_other_words_are_spelled_and_none_is_unknown():
    tokenizer = report_tokenizer()
    assert tokenizer.tokenize("Zyx9") == ["z", "##y", "##x", "##9"]
    ids = tokenizer("quirky 0.5 mV?")["input_ids"]
    assert ids[0] == tokenizer.cls_token_id and ids[-1] == tokenizer.sep_token_id
    assert tokenizer.unk_token_id not in ids


def test_it_is_the_same_when_saved_and_loaded(tmp_path):
    tokenizer = report_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again.get_vocab() == tokenizer.get_vocab() == report_tokenizer().get_vocab()
    assert again("normal ecg")["input_ids"] == tokenizer("normal ecg")["input_ids"]
