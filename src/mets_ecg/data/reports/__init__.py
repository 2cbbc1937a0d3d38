"""Report texts: cleaning, English, findings, and how much of a file of reports the glossary covers."""
