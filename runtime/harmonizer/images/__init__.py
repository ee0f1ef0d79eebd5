"""Files of pictures: what they hold is looked through, read, converted, described and written.

`files` is the way in and out. Below it: `inspection` before a decoder sees a file, `decoding` with
one module a format, `encoding`, `describing` for what a file says beside its pixels, `colour` and
`light` for what its values mean, `memory` for files in memory, `cutouts` for two files as one.
"""
