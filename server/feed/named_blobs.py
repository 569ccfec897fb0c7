"""Which blobs a record names: they are sent before it, and a store that lacks one does not take it."""

from server.store.records import Body, FilmBody, ImageBody, ModelBody


def named_blobs(body: Body) -> tuple[str, ...]:
    """Return the digests of the blobs that a record names."""
    match body:
        case FilmBody():
            return (body.film,)
        case ImageBody():
            return tuple(one for one in (body.film, body.region, body.lesions) if one is not None)
        case ModelBody():
            return (body.weights,)
    return ()
