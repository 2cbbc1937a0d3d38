"""Report texts: cleaning, English, findings, and how much of a file of reports the glossary covers."""

# Of the glossary and of how findings are split. Raise it when `report_en` or `findings` change for some report: a build
# of the same files then writes the reports of a corpus again, and reads no recording.
REPORTS_VERSION = 1
