"""What a page asks for when it begins a run, and what it tells of the device and of what will run the model.

It is shown on pages and in files later, so every text is short, in one line, and printable.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from gnomon.core.errors import DataError
from gnomon.core.spec import first_of
from gnomon.web.catalogue import Offered
from gnomon.web.runtime_package import VERSION

FRAMEWORK = "ONNX Runtime Web"
ACCELERATORS = {"wasm": "CPU", "webgpu": "GPU", "webnn": "WebNN device"}
"""What an execution provider runs on, as far as its name says."""
LARGEST_REQUEST = 1 << 16
MOST_PROBES = 8


def one_line(text: str) -> str:
    """A text without line breaks, control characters and runs of spaces."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


Text = Annotated[str, Field(max_length=300), AfterValidator(one_line)]
Agent = Annotated[str, Field(max_length=1000), AfterValidator(one_line)]
Count = Annotated[int, Field(ge=0, lt=2**31)]
ProviderName = Literal["wasm", "webgpu", "webnn"]


class Part(BaseModel):
    """A part of what a page sends. What it has besides is passed over: a newer page may say more."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)


class Probe(Part):
    """What the page found when it tried an execution provider."""

    name: Text
    usable: bool
    why: Text = ""
    took_ms: float = Field(default=0.0, ge=0)


class Provider(Part):
    """The execution provider that runs the model, and what was asked for."""

    name: ProviderName
    threads: int = Field(default=1, ge=1, le=1024)
    isolated: bool = False
    requested: Text = "auto"
    probes: list[Probe] = Field(default=[], max_length=MOST_PROBES)


class Device(Part):
    """What the browser tells of its device; most of it is missing in most browsers."""

    user_agent: Agent
    platform: Text | None = None
    model: Text | None = None
    brand: Text | None = None
    os_version: Text | None = None
    hardware_concurrency: Count | None = None
    device_memory_gb: float | None = Field(default=None, ge=0)
    screen: list[float] | None = Field(default=None, max_length=3)
    gpu: Text | None = None


class Clock(Part):
    """The page's clock."""

    resolution_ns: float | None = Field(default=None, ge=0)


class AskedRun(Part):
    """The request that begins a run."""

    mode: Text
    precision: Literal["fp32", "fp16", "int8"]
    provider: Provider
    device: Device
    clock: Clock = Clock()
    started_at_ms: float = Field(default=0.0, ge=0)

    def identity(self) -> dict[str, str]:
        """What must not change within a run."""
        return {"mode": self.mode, "precision": self.precision, "provider": self.provider.name}

    def device_told(self) -> dict[str, Any]:
        """The device as it goes on record."""
        return {
            **self.device.model_dump(exclude_none=True),
            "clock_resolution_ns": self.clock.resolution_ns,
        }

    def description(self, offered: Offered) -> dict[str, Any]:
        """The system under test, in the words that every mobile system uses.

        Raises:
            DataError: The benchmark has no model of this precision.
        """
        if self.precision not in offered.models:
            raise DataError(
                f"{offered.benchmark.name} has no {self.precision} model: choose from "
                f"{', '.join(offered.models)}"
            )
        file_name, model = offered.models[self.precision]
        return {
            "framework": FRAMEWORK,
            "version": VERSION,
            "accelerator": ACCELERATORS[self.provider.name],
            "precision": self.precision,
            "threads": self.provider.threads,
            "model": file_name,
            "model_sha256": model.sha256,
            "batch_size": offered.task.browser_batch_size,
            "provider": self.provider.name,
            "requested": self.provider.requested,
            "isolated": self.provider.isolated,
            "probes": [probe.model_dump() for probe in self.provider.probes],
        }


class AskedEnd(Part):
    """The request that ends a run."""

    interrupted_because: Text = ""


_Request = TypeVar("_Request", bound=BaseModel)


def read_request(model: type[_Request], body: bytes) -> _Request:
    """A JSON request.

    Raises:
        DataError: It is not what it has to be; the message says where.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise DataError(f"request: {one_line(first_of(error))[:300]}") from None
