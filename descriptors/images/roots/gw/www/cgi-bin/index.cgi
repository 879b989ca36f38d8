#!/bin/sh
export PATH=/bin
printf 'Content-Type: application/json\r\nCache-Control: no-store\r\n\r\n'
exec /bin/status
