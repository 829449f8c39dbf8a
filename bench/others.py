"""The proxies OpenMCP is compared with, each set up as its own documentation would for this job.

All of them: one worker, kept-alive connections to the upstream, no buffering of answers (streams must flow).
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from bench import messages

NGINX_LOG = (
    '{"ts":"$time_iso8601","peer":"$remote_addr","method":"$request_method","uri":"$request_uri","status":$status,'
    '"bytes":$body_bytes_sent,"seconds":$request_time,"session":"$http_mcp_session_id"}'
)
ENVOY_LOG = {
    "ts": "%START_TIME%",
    "peer": "%DOWNSTREAM_REMOTE_ADDRESS%",
    "path": "%REQ(:PATH)%",
    "status": "%RESPONSE_CODE%",
    "milliseconds": "%DURATION%",
    "method": "%DYNAMIC_METADATA(envoy.filters.http.mcp:method)%",
    "tool": "%DYNAMIC_METADATA(envoy.filters.http.mcp:params:name)%",
}
_EXTENSION = "type.googleapis.com/envoy.extensions."
PLENTY = 1_000_000


@dataclass(frozen=True)
class Route:
    """Where a proxy listens, and the two upstreams: the fast one, and the one that holds streams."""

    port: int
    upstream_port: int
    streams_port: int


def nginx_user() -> str:
    # Started by root, the worker must still be able to write into the run's private folder.
    return "user root;" if os.geteuid() == 0 else ""


def nginx(folder: Path, route: Route, *, log: bool) -> str:
    """nginx.conf; with `log`, one line of JSON per request."""
    name = f"nginx-{route.port}"
    access = f"log_format line escape=json '{NGINX_LOG}'; access_log {folder}/{name}.log line buffer=64k flush=1s;"
    return f"""
{nginx_user()} daemon off; worker_processes 1; pid {folder}/{name}.pid; error_log {folder}/{name}.err;
events {{ worker_connections 16384; }}
http {{
  {access if log else "access_log off;"}
  keepalive_requests 1000000000; keepalive_timeout 1h;
  client_body_temp_path {folder}/{name}.body; proxy_temp_path {folder}/{name}.proxy;
  fastcgi_temp_path {folder}/{name}.fcgi; uwsgi_temp_path {folder}/{name}.uwsgi; scgi_temp_path {folder}/{name}.scgi;
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; proxy_read_timeout 1h;
  upstream calls {{ server 127.0.0.1:{route.upstream_port}; keepalive 64; keepalive_requests 1000000000; }}
  upstream streams {{ server 127.0.0.1:{route.streams_port}; }}
  server {{
    listen 127.0.0.1:{route.port} backlog=4096;
    location / {{ proxy_pass http://calls; }}
    location /idle {{ proxy_pass http://streams; }}
    location /flood {{ proxy_pass http://streams; }}
  }}
}}
"""


def haproxy(route: Route) -> str:
    """haproxy.cfg with one thread and shared upstream connections."""
    return f"""
global
  nbthread 1
  maxconn 4000
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  http-reuse always
frontend edge
  bind 127.0.0.1:{route.port}
  default_backend calls
backend calls
  server one 127.0.0.1:{route.upstream_port}
"""


def envoy(folder: Path, route: Route, *, mcp: bool) -> str:
    """The bootstrap; with `mcp`, the MCP filter, a rule on the tool name, and one line of JSON per request."""
    manager: dict[str, object] = {
        "@type": _EXTENSION + "filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "edge",
        "generate_request_id": False,
        "stream_idle_timeout": "0s",
        "http_filters": [*(_envoy_mcp_filters() if mcp else []), _filter("router", "router.v3.Router")],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": _envoy_routes()}]},
    }
    if mcp:
        manager["access_log"] = [_envoy_log(folder / f"envoy-{route.port}.log")]
    listener = {
        "name": "edge",
        "address": _address(route.port),
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }
    clusters = [_cluster("calls", route.upstream_port), _cluster("streams", route.streams_port)]
    return json.dumps({"static_resources": {"listeners": [listener], "clusters": clusters}})


def _envoy_mcp_filters() -> list[dict[str, object]]:
    tool = {
        "filter": "envoy.filters.http.mcp",
        "path": [{"key": "params"}, {"key": "name"}],
        "value": {"string_match": {"exact": messages.TOOL}},
    }
    policy = {"permissions": [{"sourced_metadata": {"metadata_matcher": tool}}], "principals": [{"any": True}]}
    rbac = _filter("rbac", "rbac.v3.RBAC", rules={"action": "ALLOW", "policies": {"known-tool": policy}})
    return [_filter("mcp", "mcp.v3.Mcp"), rbac]


def _filter(name: str, kind: str, **settings: object) -> dict[str, object]:
    typed = {"@type": f"{_EXTENSION}filters.http.{kind}", **settings}
    return {"name": f"envoy.filters.http.{name}", "typed_config": typed}


def _envoy_routes() -> list[dict[str, object]]:
    def to(prefix: str, cluster: str) -> dict[str, object]:
        return {"match": {"prefix": prefix}, "route": {"cluster": cluster, "timeout": "0s"}}

    return [to("/idle", "streams"), to("/flood", "streams"), to("/", "calls")]


def _envoy_log(path: Path) -> dict[str, object]:
    typed = {
        "@type": _EXTENSION + "access_loggers.file.v3.FileAccessLog",
        "path": str(path),
        "log_format": {"json_format": ENVOY_LOG},
    }
    return {"name": "envoy.access_loggers.file", "typed_config": typed}


def _cluster(name: str, port: int) -> dict[str, object]:
    limits = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests"), PLENTY)
    endpoint = {"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "circuit_breakers": {"thresholds": [limits]},
        "load_assignment": {"cluster_name": name, "endpoints": [endpoint]},
    }


def _address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
