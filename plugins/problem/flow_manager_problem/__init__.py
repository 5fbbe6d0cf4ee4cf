"""Error format for Flow Manager: problem details of RFC 9457."""
