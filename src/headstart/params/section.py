"""What every section of `params.yaml` shares: frozen, strict, no unknown key, no default in code."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Modality = Literal["text", "image"]
Strategy = Literal["linear_probe", "fine_tune", "lora", "adapt_then_fine_tune", "scratch"]

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Difference = Annotated[float, Field(ge=-1.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Amount = Annotated[float, Field(ge=0.0)]
Level = Annotated[float, Field(gt=0.0, lt=1.0)]
Count = Annotated[int, Field(ge=1)]
Several = Annotated[int, Field(ge=2)]
Seed = Annotated[int, Field(ge=0)]


class Section(BaseModel):
    """A part of `params.yaml`: plain values, checked once, never changed."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", protected_namespaces=())
