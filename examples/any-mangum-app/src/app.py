"""An ordinary application: FastAPI behind Mangum. It knows nothing of the layer."""

import asyncio
from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from mangum import Mangum

app = FastAPI()


@app.get("/")
async def count() -> StreamingResponse:
    """Count to ten, a number every tenth of a second."""

    async def numbers() -> AsyncIterator[str]:
        for number in range(1, 11):
            yield f"data: {number}\n\n"
            await asyncio.sleep(0.1)

    return StreamingResponse(numbers(), media_type="text/event-stream")


handler = Mangum(app)
