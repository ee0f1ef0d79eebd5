"""More than one machine, by Ray: batches on Ray Data, the service on Ray Serve.

Needs the extra harmonizer[ray]. `crew` drives a batch, `objects` has files in object storage,
`rows` is for pipelines of one's own, `service` is the application for Ray Serve
(docs/clusters.md).
"""
