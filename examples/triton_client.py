"""The network on a Triton server, the picture drawn here.

python examples/triton_client.py localhost:8001 composite.jpg mask.png out.png

Needs tritonclient[grpc], and a server with what export/triton_repository.py writes.
"""

import sys

from tritonclient.grpc import InferenceServerClient, InferInput

import harmonizer
from harmonizer.renderer import CpuRenderer

if len(sys.argv) != 5:
    sys.exit(__doc__)
MODEL = "harmonizer"

address, composite, mask, output = sys.argv[1:]
client = InferenceServerClient(address)
about = client.get_model_config(MODEL).config
filters = tuple(about.parameters["filters"].string_value.split(","))
picture = harmonizer.open(composite, mask)
with CpuRenderer().open(picture.image, picture.mask) as frame:
    inputs = []
    for name, thumbnail in zip(("composite", "mask"), frame.thumbnails(), strict=True):
        inputs.append(InferInput(name, thumbnail.shape, "FP32"))
        inputs[-1].set_data_from_numpy(thumbnail)
    numbers = client.infer(MODEL, inputs).as_numpy("arguments")[0]
    arguments = harmonizer.Arguments.from_array(numbers, filters, (1,) * len(filters))
    drawn = frame.draw(frame.measure(arguments))
picture.save(drawn, output)
print(output, dict(arguments))
