"""A small Mangum app for the local deployment's tests, and its template.

The path chooses what it does. It is plain ASGI, so it starts at once.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

TEMPLATE = """
Parameters:
  InvokeMode: {{Type: String, Default: RESPONSE_STREAM}}
  Timeout: {{Type: Number, Default: 20}}
  Handler: {{Type: String, Default: toy.app.handler}}
Conditions:
  Streams: !Equals [!Ref InvokeMode, RESPONSE_STREAM]
Resources:
  ToyFunction:
    Type: AWS::Serverless::Function
    Properties:
      Handler: !Ref Handler
      Runtime: python3.13
      CodeUri: toy
      Timeout: !Ref Timeout
      Layers: [!Ref StreamingLayer]
      FunctionUrlConfig: {{AuthType: NONE, InvokeMode: !Ref InvokeMode}}
      Environment:
        Variables:
          AWS_LAMBDA_EXEC_WRAPPER: !If [Streams, /opt/bootstrap, !Ref AWS::NoValue]
          COMPLETIONS_CALLER_KEY_SECRET: !Ref CallerKeySecret
          FROM_TEMPLATE: template
          OVERRIDDEN: template
  StreamingLayer:
    Type: AWS::Serverless::LayerVersion
    Properties: {{ContentUri: {root}/layers/streaming}}
  CallerKeySecret:
    Type: AWS::SecretsManager::Secret
    Properties:
      GenerateSecretString: {{SecretStringTemplate: "{{}}", GenerateStringKey: key}}
"""

APP = """
import asyncio, json, os, sys, time
from urllib.parse import parse_qs
from mangum import Mangum

async def app(scope, receive, send):
    query = {k: v[0] for k, v in parse_qs(scope["query_string"].decode()).items()}
    path = scope["path"]

    async def start(status=200, kind=b"text/plain"):
        headers = [(b"content-type", kind), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
        await send({"type": "http.response.start", "status": status, "headers": headers})

    async def piece(body, more=True):
        await send({"type": "http.response.body", "body": body, "more_body": more})

    async def whole(value, status=200):
        await start(status, b"application/json")
        await piece(json.dumps(value).encode(), False)

    if path == "/pid":
        await whole(os.getpid())
    elif path == "/process":
        await whole({"env": dict(os.environ), "path": sys.path, "cwd": os.getcwd(),
                     "modules": sorted(sys.modules)})
    elif path == "/event":
        await whole(scope["aws.event"], 201)
    elif path == "/gate":
        # Two pieces, the second when a file appears: a test decides when.
        await start()
        await piece(b"first")
        while not os.path.exists(query["file"]):
            await asyncio.sleep(0.01)
        await piece(b"second", False)
        open(query["file"] + ".done", "w").close()
    elif path == "/linger":
        # Answered, and busy until a file appears.
        await whole("answered")
        while not os.path.exists(query["file"]):
            await asyncio.sleep(0.01)
    elif path == "/hang":
        await start()
        await piece(b"first")
        time.sleep(60)
    elif path == "/hang-before":
        time.sleep(60)
    elif path == "/crash":
        os._exit(7)
    elif path == "/crash-after":
        await start()
        await piece(b"first")
        # Who ends at once takes along what the system has not sent: a test says that it is here.
        while not os.path.exists(query["file"]):
            await asyncio.sleep(0.01)
        os._exit(7)
    elif path == "/raise-after":
        await start()
        await piece(b"first")
        raise ValueError("a secret of the function's")
    elif path == "/empty":
        await start(204)
        await piece(b"", False)
    else:
        await whole({"no": path}, 404)

handler = Mangum(app, lifespan="off")
"""

EXTRAS = {
    "broken.py": "raise ImportError('broken on purpose')\n",
    "plain.py": """
def handler(event, context):
    if event.get("fail"):
        raise ValueError(context.aws_request_id)
    return {"statusCode": 418, "body": "tea"}
""",
}


def write(folder: Path) -> Path:
    """Write app and template into a folder; return the template's path."""
    package = folder / "toy"
    package.mkdir()
    for name, text in {"__init__.py": "", "app.py": APP, **EXTRAS}.items():
        (package / name).write_text(text)
    template = folder / "template.yaml"
    template.write_text(TEMPLATE.format(root=ROOT))
    return template
