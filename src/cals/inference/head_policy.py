"""Whether the heads of a job's output are held otherwise than in the picture."""

from cals.errors import ConfigError
from cals.models.network import LipNetwork


def has_head_motion(model: LipNetwork, name: str, *, is_photo: bool, has_pose: bool) -> bool:
    """Whether the head motion differs from the picture's: for photos, held as in another video or by Audio2Head.

    Raises ConfigError where a pose video is given and the model or the face does not allow it.
    """
    if not has_pose:
        return is_photo and model.head_policy == "predicted"
    if model.head_policy == "kept":
        raise ConfigError(
            f"pose: expected a model of PC-AVS or Audio2Head, found {name}, whose heads are held as in the picture; "
            "leave --pose out"
        )
    if not is_photo:
        raise ConfigError(
            "pose: expected a photo as face, found a video, into whose frames a head held otherwise does not fit; give "
            "one frame of it, or leave --pose out: then every frame has its own pose"
        )
    return True
