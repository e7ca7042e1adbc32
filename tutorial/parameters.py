"""The validated contents of tutorial/params.yaml."""

from typing import Annotated

from pydantic import Field

from softmax_regression.data.parameters import ParameterFile


class TutorialParameters(ParameterFile):
    """What tutorial/params.yaml may hold; the meaning of each key stands there as a comment."""

    article_images: Annotated[int, Field(ge=1)]
    article_lr: Annotated[float, Field(gt=0, le=1_000_000)]
    # The last of the printed costs is that of epoch 1000.
    article_epochs: Annotated[int, Field(ge=1001, le=1_000_000)]
    article_init_std: Annotated[float, Field(ge=0, le=1_000_000)]
    article_seeds: Annotated[int, Field(ge=1, le=10_000)]
    curve_sizes: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
    curve_seeds: Annotated[int, Field(ge=1, le=10_000)]
