"""Django behind Mangum; its ASGI handler has no lifespan and runs views in threads."""

from __future__ import annotations

from collections.abc import AsyncIterator

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.urls import path
from mangum import Mangum

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="of-a-test")
django.setup()


def json(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"q": request.GET["q"]})


async def stream(_request: HttpRequest) -> StreamingHttpResponse:
    async def parts() -> AsyncIterator[str]:
        for i in range(3):
            yield f"data: {i}\n\n"

    return StreamingHttpResponse(parts(), content_type="text/event-stream")


def echo(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.body, content_type="application/octet-stream")


def cookies(_request: HttpRequest) -> HttpResponse:
    response = JsonResponse("baked", safe=False)
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response


def elsewhere(_request: HttpRequest) -> HttpResponse:
    return HttpResponseRedirect("/json")


def broken(_request: HttpRequest) -> HttpResponse:
    raise ValueError("the key is sk-1")


urlpatterns = [
    path("json", json),
    path("stream", stream),
    path("echo", echo),
    path("cookies", cookies),
    path("elsewhere", elsewhere),
    path("broken", broken),
]
handler = Mangum(get_asgi_application())
