"""The door to the hub: nginx's configuration, which lets sites reach the fleet paths and /health, and nothing else.

Browsers reach the dashboard by a port of its own, where a coordinator asks for it.

In: addresses, the hub's certificate and key, its CA. Out: the text of a configuration for nginx 1.22 or newer.
Flower's SuperLink serves everything on one port, and its Control API asks nobody who they are (1.41): whoever reaches
it may send code to every hospital. So the SuperLink listens on the loopback only, and this is all that others see.
"""

from dataclasses import dataclass
from pathlib import Path

# every path that a SuperNode of Flower 1.41 asks for (flwr/supernode/fleet_http_client.py)
FLEET_PATHS = (
    "activate-node", "confirm-message-received", "deactivate-node", "get-fab", "get-run", "pull-messages",
    "pull-object", "push-messages", "push-object", "register-node", "send-node-heartbeat", "unregister-node",
)  # fmt: skip
_TEMPLATE = """\
# Made by `rounds-hub serve` at each start; changes here are lost.
daemon off;                       # the supervisor keeps it
worker_processes 1;
pid {run}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}

http {{
    server_tokens off;
    default_type application/octet-stream;

    # One line for what was refused or failed: no body, no header, no query.
    log_format rounds '$time_iso8601 $remote_addr $request_method $uri $status $request_time';
    map $status $notable {{ ~^2 0; default 1; }}
    access_log {log} rounds if=$notable;

    client_body_temp_path {run}/body;
    proxy_temp_path {run}/proxy;
    fastcgi_temp_path {run}/fastcgi;
    uwsgi_temp_path {run}/uwsgi;
    scgi_temp_path {run}/scgi;

    # Arrays travel in pieces of 5 MiB (Flower 1.41), so nothing larger than this is ours.
    client_max_body_size 16m;
    client_header_timeout 20s;
    client_body_timeout 60s;      # between two reads, not for the whole body
    send_timeout 60s;
    keepalive_timeout 75s;

    # By address: a site's node asks about once a second and sends large updates in pieces. What is too much gets 503,
    # which Flower's nodes try again; 401 would end a node and 403 its run, so neither may ever come from here.
    limit_req_zone $binary_remote_addr zone=requests:4m rate={requests}r/s;
    limit_conn_zone $binary_remote_addr zone=connections:4m;
    limit_req zone=requests burst={burst} nodelay;
    limit_conn connections {connections};
    limit_req_status 503;
    limit_conn_status 503;

    ssl_certificate {certificate};
    ssl_certificate_key {key};
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_ciphers ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305;
    ssl_prefer_server_ciphers on;
    ssl_session_cache shared:tls:2m;
    ssl_session_tickets off;

    upstream superlink {{
        server {superlink};
        keepalive 16;
    }}

    # The SuperLink shows the same certificate, which holds for this machine too; nginx compares host names only.
    proxy_ssl_verify on;
    proxy_ssl_trusted_certificate {ca};
    proxy_ssl_name localhost;
    proxy_ssl_protocols TLSv1.2 TLSv1.3;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_connect_timeout 5s;
    proxy_read_timeout 180s;
    proxy_request_buffering off;  # what passes is never on the disk here
    proxy_max_temp_file_size 0;
    proxy_next_upstream off;      # a request that was passed on is never sent twice by us

    server {{
        listen {listen} ssl;
        server_name _;

        # The name that matched is sent on, never the address as the client wrote it.
        location ~ ^/v1/fleet/(?<call>{paths})$ {{
            if ($request_method != POST) {{ return 404; }}
            proxy_pass https://superlink/v1/fleet/$call;
        }}
        location = /health {{
            proxy_pass https://superlink/health;
        }}
        location / {{
            return 404;
        }}
    }}
{readers}}}
"""
_READERS = """
    # The dashboard for browsers on other machines. Limits of its own: readers cannot shut the sites out.
    limit_req_zone $binary_remote_addr zone=reading:4m rate={requests}r/s;
    limit_conn_zone $binary_remote_addr zone=readers:4m;
    server {{
        listen {listen} ssl;
        server_name _;
        client_max_body_size 1m;
        limit_req zone=reading burst={burst} nodelay;
        limit_conn readers {connections};
        location / {{
            proxy_pass http://{dashboard};
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-Proto https;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header Connection "";
            proxy_buffering off;      # a page that is open is told of changes as they come
            proxy_read_timeout 1h;
        }}
    }}
"""


@dataclass(frozen=True)
class Proxy:
    """Where nginx listens, what it shows and whom it asks; limits are per client address.

    `readers` is where browsers reach the dashboard, which itself listens at `dashboard` on this machine; "" for
    nowhere.
    """

    listen: str
    superlink: str
    certificate: Path
    key: Path
    ca: Path
    requests_per_second: int = 50
    burst: int = 500
    connections: int = 64
    readers: str = ""
    dashboard: str = ""

    def configuration(self, run: Path, log: Path) -> str:
        """Return the configuration; `run` is a folder for what nginx writes, `log` gets the refused requests."""
        limits = {
            "requests": self.requests_per_second,
            "burst": self.burst,
            "connections": self.connections,
        }
        readers = (
            _READERS.format(listen=self.readers, dashboard=self.dashboard, **limits) if self.readers else ""
        )
        return _TEMPLATE.format(
            run=run,
            log=log,
            listen=self.listen,
            superlink=self.superlink,
            certificate=self.certificate,
            key=self.key,
            ca=self.ca,
            paths="|".join(FLEET_PATHS),
            readers=readers,
            **limits,
        )
