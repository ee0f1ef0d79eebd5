#!/bin/sh
# Start the web service, ask it with curl, end it:
#   sh examples/serve.sh PHOTO MASK FOLDER
# The photo's foreground is darkened first, so that there is something to mend.
set -eu
photo=$1 mask=$2 folder=$3
mkdir -p "$folder"

harmonizer serve --port 0 2>"$folder/log.jsonl" &
service=$!
trap 'kill "$service" 2>/dev/null || true' EXIT
until port=$(sed -n 's/.*"port": \([0-9]*\).*/\1/p' "$folder/log.jsonl") && [ -n "$port" ] &&
    curl -sf "http://127.0.0.1:$port/readyz" >"$folder/ready.json"; do
    kill -0 "$service" # it must live meanwhile
    sleep 0.2
done
at=http://127.0.0.1:$port

curl -sf -F "image=@$photo" -F "mask=@$mask" -F 'arguments={"brightness": -0.4, "temperature": 0.3}' \
    "$at/render" -o "$folder/composite.png"
curl -sf -F "image=@$folder/composite.png" -F "mask=@$mask" "$at/predict" -o "$folder/arguments.json"
curl -sf -F "image=@$folder/composite.png" -F "mask=@$mask" -H 'Accept: image/jpeg' \
    "$at/harmonize" -o "$folder/harmonized.jpg"
curl -sf "$at/metrics" -o "$folder/metrics.txt"

kill "$service"
wait "$service" # it ends well, or this does not
trap - EXIT
echo "$folder: composite.png, arguments.json, harmonized.jpg, metrics.txt, log.jsonl"
