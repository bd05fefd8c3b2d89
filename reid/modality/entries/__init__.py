"""The modalities of AnyReID: a file each, with its `MODALITY`. Nothing lists them: a file here is found."""
