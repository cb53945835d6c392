#!/bin/bash
# Succeeds if the service of this container says that it takes requests; the image has no HTTP client.
#   healthy PORT
set -eu
exec 3<> "/dev/tcp/127.0.0.1/$1"
printf 'GET /health/ready HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3
read -r -t 5 _ status _ <&3
[ "$status" = 200 ]
