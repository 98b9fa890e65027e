"""The programs: twistd commands and what they build."""
