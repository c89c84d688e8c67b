"""What is asked and answered, as pydantic sees it."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

Text = Annotated[str, Field(min_length=1, max_length=20_000)]
Row = Annotated[list[float], Field(min_length=1, max_length=4096)]


class PredictRequest(BaseModel):
    """One item: a text or a row of numbers."""

    model_config = ConfigDict(extra="forbid")
    model: str = "toxicity"
    text: Text | None = None
    input: Row | None = None

    @model_validator(mode="after")
    def one_of_both(self) -> "PredictRequest":
        if (self.text is None) == (self.input is None):
            raise ValueError("send either 'text' or 'input'")
        return self


class BatchRequest(BaseModel):
    """Many items of one kind."""

    model_config = ConfigDict(extra="forbid")
    model: str = "toxicity"
    texts: Annotated[list[Text], Field(min_length=1, max_length=1024)] | None = None
    inputs: Annotated[list[Row], Field(min_length=1, max_length=1024)] | None = None

    @model_validator(mode="after")
    def one_of_both(self) -> "BatchRequest":
        if (self.texts is None) == (self.inputs is None):
            raise ValueError("send either 'texts' or 'inputs'")
        return self
