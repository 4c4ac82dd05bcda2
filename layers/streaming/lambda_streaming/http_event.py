"""What an HTTP event says apart from its request: who sent it, and what that sender can read.

Sources: "Invoking Lambda function URLs", AWS Lambda developer guide; "Lambda proxy integrations",
Amazon API Gateway developer guide. The request itself is Mangum's to read.
"""

from typing import Any

from lambda_streaming import settings

_HEADERS = ("headers", "multiValueHeaders")


def takes_a_stream(event: Any) -> bool:
    """Whether the sender of an HTTP event reads Lambda's streaming format.

    Function URLs do. HTTP APIs, which send the same event format, do not: they show by a domain of
    API Gateway's or, behind a custom domain, by a prefix that is not the API's id. REST APIs do if
    `ResponseTransferMode` is STREAM ("Set up a Lambda proxy integration with payload response
    streaming", Amazon API Gateway developer guide), but their events do not say so:
    LAMBDA_STREAMING_REST_API=STREAM has to. Load balancers and Lambda@Edge do not.
    """
    context = event.get("requestContext") if isinstance(event, dict) else None
    if not isinstance(context, dict):
        return False
    if "resource" in event and "version" not in event:
        return settings.streams_rest_apis()
    return (
        "http" in context
        and ".execute-api." not in str(context.get("domainName"))
        and context.get("domainPrefix") == context.get("apiId")
    )


def method(event: dict[str, Any]) -> Any:
    """Return the method of an event that takes a stream."""
    http = event["requestContext"].get("http")
    return http.get("method") if isinstance(http, dict) else event.get("httpMethod")


def forbid_compression(event: dict[str, Any]) -> None:
    """Take `accept-encoding` out of it, so that no handler compresses what is streamed."""
    for field in _HEADERS:
        if isinstance(headers := event.get(field), dict):
            event[field] = {k: v for k, v in headers.items() if k.lower() != "accept-encoding"}
