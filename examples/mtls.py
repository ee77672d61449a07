"""Mutual TLS: who calls is known by a certificate, and the application sees whose it is.

Make an authority, and certificates for the server and for a client, in the folder of mtls.toml:

    mkdir -p certificates && cd certificates && umask 077
    EC="ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    openssl req -x509 -newkey $EC -keyout ca.key -out ca.pem -days 30 -subj "/CN=Test authority" \\
        -addext "keyUsage=critical,keyCertSign,cRLSign"
    openssl req -x509 -newkey $EC -keyout server.key -out server.pem -days 30 -subj "/CN=localhost" \\
        -CA ca.pem -CAkey ca.key -addext "subjectAltName=DNS:localhost,IP:127.0.0.1" \\
        -addext "basicConstraints=critical,CA:FALSE"
    openssl req -x509 -newkey $EC -keyout anna.key -out anna.pem -days 30 -subj "/O=Shop/CN=Anna" \\
        -CA ca.pem -CAkey ca.key -addext "basicConstraints=critical,CA:FALSE"

Then, from the folder above:

    hyperserver --config examples/mtls.toml
    cd examples/certificates
    curl --cacert ca.pem --cert anna.pem --key anna.key https://localhost:8443/

Without a certificate that the authority vouches for there is no connection, and so no request.
"""


async def app(scope, receive, send):
    assert scope["type"] == "http"
    tls = scope["extensions"]["tls"]
    # As in RFC 4514, the last part first: CN=Anna,O=Shop. What it may do is for you to decide.
    content = f"Hello, {tls['client_cert_name']}, by TLS {tls['tls_version']:#06x}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})
