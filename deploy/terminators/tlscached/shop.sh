#!/bin/sh
# Terminates TLS 1.2 and 1.3 in as many processes as there are processors (--processes says another number), which share
# the sessions of the node beside them, and passes plain TCP on. Serves shop.example and mail.example: a session of one
# name never resumes under the other. Tickets are off by themselves. The context says who shares sessions: the same on
# all machines, and another one for every other service.
exec tlscached terminate \
  --listen 0.0.0.0:443 \
  --cert /etc/tlscached/cert.pem --key /etc/tlscached/key.pem \
  --backend 127.0.0.1:8080 \
  --node unix:/run/tlscached/rpc.sock \
  --context shop
