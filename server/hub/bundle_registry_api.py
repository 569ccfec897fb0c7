"""The registry as a service: what Flower's SuperLink asks when a run names an app such as @publisher/app==1.0.0.

In: `POST /hub/fetch-fab`, which SuperLink 1.41 sends to FLWR_SUPERGRID_API_URL. Out: where the bundle is, and all
hospitals' signatures on it. An undocumented seam of Flower: pinned to 1.41 and tested against its real processes
(`tests/system/test_signed_code.py`).
"""

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from server.hub.bundle_registry import Registry

APP_PATTERN = r"^@[A-Za-z0-9_.-]{1,100}/[A-Za-z0-9_.-]{1,100}$"


class Wanted(BaseModel):
    """What SuperLink sends: an app, and a version or none for the newest."""

    app_id: str = Field(pattern=APP_PATTERN)
    app_version: str | None = Field(None, max_length=40)
    flwr_version: str | None = Field(None, max_length=40)


class Found(BaseModel):
    """What SuperLink expects back."""

    fab_url: str
    verifications: list[dict[str, str | int]]


def registry_app(registry: Registry) -> FastAPI:
    """Return the service; it reads the registry's folder at each request."""
    app = FastAPI(title="Teaching Rounds registry", openapi_url=None)

    @app.get("/health")
    def health() -> dict[str, str]:
        """Say that the service answers."""
        return {"status": "ok"}

    @app.post("/hub/fetch-fab")
    def fetch_fab(wanted: Wanted, request: Request) -> Found:
        """Say where the wanted bundle is, and who signed it."""
        sha256 = registry.find(wanted.app_id, wanted.app_version)
        if sha256 is None:
            known = list(registry.versions(wanted.app_id))
            raise HTTPException(404, {"available_app_versions": known})
        return Found(
            fab_url=f"{request.base_url}bundles/{sha256}", verifications=registry.verifications(sha256)
        )

    @app.get("/bundles/{sha256}")
    def bundle(sha256: str) -> FileResponse:
        """Return a bundle that was added."""
        path = registry.bundle_file(sha256)
        if len(sha256) != 64 or not sha256.isalnum() or not path.is_file():
            raise HTTPException(404, "no bundle with this SHA-256")
        return FileResponse(path, media_type="application/octet-stream")

    return app
