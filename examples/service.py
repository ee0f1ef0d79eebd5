"""A service: post an image and its mask, get the picture; what is wrong with them is said.

uvicorn --app-dir examples service:app
curl -F image=@composite.jpg -F mask=@mask.png localhost:8000/harmonize -o out.jpg
"""

from typing import Annotated

from fastapi import FastAPI, File, HTTPException, Response

from harmonizer import Harmonizer, HarmonizerError

app, harmonizer = FastAPI(), Harmonizer()


@app.post("/harmonize")
def harmonize(image: Annotated[bytes, File()], mask: Annotated[bytes, File()]) -> Response:
    """The harmonized picture as a JPEG file, with all that belonged to the image's."""
    try:
        result = harmonizer.harmonize_file(image, mask, form="JPEG", max_pixels=50_000_000)
    except HarmonizerError as error:
        raise HTTPException(422, str(error)) from error
    return Response(result.data, media_type="image/jpeg")
