"""WFDB signal files: the samples of every format as integers.

The `wfdb` package is not used: it parses the header once more by its own rules, and raises exceptions of any kind on
damaged files. Checksums, the markers of samples that were not recorded, and skew are dealt with in `wfdb.py`.

Format: https://physionet.org/physiotools/wag/signal-5.htm.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

# What marks a sample as not recorded, by format. Format 8 stores differences and has no marker.
MARKERS = {
    **{16: -(2**15), 61: -(2**15), 160: -(2**15), 516: -(2**15)},
    **{80: -(2**7), 508: -(2**7), 212: -(2**11), 310: -(2**9), 311: -(2**9)},
    **{24: -(2**23), 524: -(2**23), 32: -(2**31)},
}
PACKED = (212, 310, 311)  # bits of one byte belong to several samples
COMPRESSED = (508, 516, 524)  # FLAC of 8, 16 and 24 bits
FORMATS = (8, *MARKERS)

# The bytes that the first 1, 2, ... samples of a block need; the last number is the length of a block.
_BLOCK_BYTES = {
    **{8: (1,), 80: (1,), 16: (2,), 61: (2,), 160: (2,), 24: (3,), 32: (4,)},
    **{212: (2, 3), 310: (2, 4, 4), 311: (2, 3, 4)},
}
_FLAC_BITS = {"PCM_S8": 8, "PCM_16": 16, "PCM_24": 24}
_FLAC_CHUNK = 2**16  # frames


def bytes_of(form: int, num_samples: int) -> int:
    """Return how many bytes a number of samples takes in an uncompressed format."""
    needs = _BLOCK_BYTES[form]
    blocks, rest = divmod(num_samples, len(needs))
    return blocks * needs[-1] + (needs[rest - 1] if rest else 0)


def samples_in(form: int, num_bytes: int) -> int:
    """Return how many whole samples fit into a number of bytes in an uncompressed format."""
    needs = _BLOCK_BYTES[form]
    blocks, rest = divmod(num_bytes, needs[-1])
    return blocks * len(needs) + sum(need <= rest for need in needs)


def check_flac_length(path: str | Path, num_samples: int) -> None:
    """Check that a compressed file says that it has this many samples a channel, without decoding it.

    Raises:
        ValueError: it says another number, or is not a FLAC file. The message has no record and no way out.
    """
    with open(path, "rb") as file:
        head = file.read(26)
    if len(head) < 26 or not head.startswith(b"fLaC"):
        raise ValueError(f"{Path(path).name} is not a FLAC file")
    found = int.from_bytes(head[18:26], "big") & (2**36 - 1)  # STREAMINFO is always first
    if found != num_samples:
        raise ValueError(
            f"{Path(path).name} has {found} samples where the header says {num_samples}: it is truncated, or the "
            "header disagrees with the data"
        )


def read_channels(
    path: str | Path,
    form: int,
    *,
    offset: int,
    num_frames: int,
    samples_per_frame: Sequence[int],
    initial_values: Sequence[int],
) -> list[np.ndarray]:
    """Read a signal file.

    Args:
        path: the file.
        form: its format, one of `FORMATS`.
        offset: where the first sample is, in bytes; in samples a channel if the file is compressed.
        num_frames: of the file, which must be long enough for them.
        samples_per_frame: of each signal in the file.
        initial_values: of each signal, which format 8 adds its differences to.

    Returns:
        The samples of each signal, `(num_frames * samples_per_frame,)`: int32 in formats 8, 24, 32 and 524, and int16
        in the others.

    Raises:
        ValueError: a compressed file is damaged, or not as the header says. The message has no record and no way out.
    """
    if form in COMPRESSED:
        return _read_flac(path, form, offset, num_frames, samples_per_frame)
    per_frame = sum(samples_per_frame)
    num_samples = num_frames * per_frame
    data = np.fromfile(path, dtype=np.uint8, count=bytes_of(form, num_samples), offset=offset)
    frames = _decode(form, data, num_samples).reshape(num_frames, per_frame)
    ends = np.cumsum(samples_per_frame)
    channels = [frames[:, end - n : end].reshape(-1) for end, n in zip(ends, samples_per_frame, strict=True)]
    if form == 8:
        both = zip(channels, initial_values, strict=True)
        channels = [(initial + channel.cumsum(dtype=np.int64)).astype(np.int32) for channel, initial in both]
    return channels


def _decode(form: int, data: np.ndarray, num_samples: int) -> np.ndarray:
    if form == 8:
        return data.view(np.int8)
    if form == 80:
        return data.astype(np.int16) - 128
    if form == 160:
        return (data.view("<u2") ^ 0x8000).astype(np.uint16).view(np.int16)
    if form in (16, 61):
        return data.view("<i2" if form == 16 else ">i2").astype(np.int16, copy=False)
    if form == 32:
        return data.view("<i4").astype(np.int32, copy=False)
    if form == 24:
        high = np.zeros((num_samples, 4), dtype=np.uint8)
        high[:, 1:] = data.reshape(-1, 3)
        return high.reshape(-1).view("<i4").astype(np.int32, copy=False) >> 8
    block = _BLOCK_BYTES[form][-1]
    data = np.concatenate([data, np.zeros(-len(data) % block, dtype=np.uint8)])  # the last block may be cut
    if form == 212:
        low, middle, high = data.reshape(-1, 3).astype(np.int16).T
        bits, parts = 12, (low | (middle & 0xF) << 8, high | (middle >> 4) << 8)
    elif form == 310:
        first, second = data.view("<u2").reshape(-1, 2).astype(np.int32).T
        bits, parts = 10, (first >> 1, second >> 1, first >> 11 | (second >> 11) << 5)
    else:
        word = data.view("<u4")
        bits, parts = 10, (word, word >> 10, word >> 20)
    unsigned = np.stack(parts, axis=1).reshape(-1)[:num_samples].astype(np.int32) & (2**bits - 1)
    sign = 1 << bits - 1
    return ((unsigned ^ sign) - sign).astype(np.int16)


def _read_flac(
    path: str | Path, form: int, offset: int, num_frames: int, samples_per_frame: Sequence[int]
) -> list[np.ndarray]:
    import soundfile  # loads a shared library, which importing the package must not

    num_samples = num_frames * samples_per_frame[0]
    name = Path(path).name
    if len(set(samples_per_frame)) > 1:
        raise ValueError(f"the signals in {name} differ in samples per frame, which FLAC does not allow")
    chunks, left = [], num_samples
    try:
        # Not from the path: soundfile takes a file for raw samples where its name ends in .raw.
        with soundfile.SoundFile(io.BytesIO(Path(path).read_bytes())) as file:
            bits = _FLAC_BITS.get(file.subtype, 32)
            if bits > form - 500:
                raise ValueError(f"{name} has {bits} bits a sample, more than format {form} has")
            if file.channels != len(samples_per_frame):
                raise ValueError(f"{name} has {file.channels} channels where the header has {len(samples_per_frame)}")
            file.seek(offset)
            # By chunks, so that a file that promises too much takes no memory.
            while left and len(chunk := file.read(min(left, _FLAC_CHUNK), dtype="int32", always_2d=True)):
                chunks.append((chunk >> 32 - bits).astype(np.int32 if form == 524 else np.int16))
                left -= len(chunk)
    except soundfile.SoundFileError as error:
        raise ValueError(f"{name} cannot be decoded: {error}") from error
    if left:
        raise ValueError(f"{name} ends after {num_samples - left} of {num_samples} samples: it is truncated")
    return list(np.ascontiguousarray(np.concatenate(chunks).T))
