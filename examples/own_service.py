"""Harmonizing in a web service of one's own: FastAPI, one network for all requests.

    pip install "harmonizer[serve]"
    uvicorn --app-dir examples own_service:app

`harmonizer serve` is the service with limits, keys and figures (docs/serving.md); this is the core.
"""

from typing import Annotated

from fastapi import FastAPI, File, HTTPException, Response

from harmonizer import Harmonizer, HarmonizerError

app, harmonizer = FastAPI(), Harmonizer()


@app.post("/harmonize")
def harmonize(image: Annotated[bytes, File()], mask: Annotated[bytes, File()]) -> Response:
    """A composite and its mask to a JPEG, or to what is wrong with them."""
    try:
        made = harmonizer.harmonize_file(image, mask, form="JPEG")
    except HarmonizerError as error:
        raise HTTPException(422, str(error)) from error
    return Response(made.data, media_type="image/jpeg")
