"""The web service: `harmonizer serve`. Needs the extra harmonizer[serve].

`guard` sees a request first: who asks, how many bytes, how many at a time. `parts` brings its body
to the disk, `work` draws, `app` says which is done for which path (docs/serving.md).
"""
