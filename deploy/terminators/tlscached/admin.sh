#!/bin/sh
# As shop.sh, for clients that show a certificate.
exec tlscached terminate \
  --listen 0.0.0.0:8443 \
  --cert /etc/tlscached/cert.pem --key /etc/tlscached/key.pem \
  --client-ca /etc/tlscached/clients.pem \
  --backend 127.0.0.1:8080 \
  --node unix:/run/tlscached/rpc.sock \
  --context admin
