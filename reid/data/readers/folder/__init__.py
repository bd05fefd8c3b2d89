"""Own pictures: one folder an identity, or any tree of files that a CSV manifest describes.

Folders: everything below an identity's folder is its own, to any depth. A sub-folder or a file-name
prefix or suffix that names a modality (`nir/0001.jpg`, `0001_nir.jpg`, `NIR_0001.jpg`, `0001/nir.jpg`)
tells it, also by usual words like VIS, th or thermal; files that are alike but for that are one capture.
Folders at the top that are called like splits or roles (train, Validation, gallery_bbox) are those; where
a file's path tells the identity otherwise, `identity_pattern` takes it. Where such folders lie below
`imgs`, the folders beside it (`imgs-sketch`, `masks`, …) hold the same paths. A second file of the same
capture and modality (`a.jpg`, `a.png`) is a capture of its own, whose sample id is its whole path.

Manifest: a row is one file (a picture, or a mask by modality `mask`), or only a caption. Rows of one
`capture` (default: of one file) are one sample; rows that contradict each other set the whole sample
aside, with the reason. Columns that are not ours go to `extra`.

Identities and cameras that are all whole numbers keep them; else they are numbered in sorted order
and `extra` keeps the name. Where nothing says the split, whole identities go to test: the
`test_fraction` of them whose hash with `split_seed` is smallest, so that one more identity moves at
most one other.
"""

from reid.data.readers.folder.config import Columns, Config, RoleRule
from reid.data.readers.folder.reader import Reader

__all__ = ["Columns", "Config", "Reader", "RoleRule"]
