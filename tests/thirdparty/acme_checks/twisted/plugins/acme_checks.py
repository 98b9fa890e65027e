"""The check types of Acme's."""

from acme.folder import FolderCheck

folder = FolderCheck()
