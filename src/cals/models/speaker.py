"""How one person's mouth moves: their rest, their span, and how far it was ever seen to go."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from cals.models.mesh import FaceMesh, exact, lip_gap
from cals.models.motion import MeshDecoder

SPEAKING = (0.2, 0.4)
"""A mouth whose opening deviates by less than the first share of the average speaker's was not seen to speak, by the
second one it was. Those who hardly open their mouths deviate by 0.4 (GRID), silent ones, breathing, by 0.1 to 0.3."""
SPAN = (0.4, 3.0)
"""Least and most of a person's span, in the average speaker's: beyond it is a fault of tracking."""
USUAL_SPAN = 1.5
"""Span of who was not seen to speak, a photo's above all. People in free speech open their mouths further than the
readers of the corpus."""
USUAL_WIDEST = 5.5
"""The widest opening of such a person, lips at rest included, in the average speaker's deviations."""
BEYOND = 1.2
"""Nobody's mouth is opened further than this share of the widest opening that was seen of it."""
_WIDEST = 0.99
_ROOM_PX = 0.5
"""Width of the bend in which an opening nears its limit."""


@dataclass(frozen=True, eq=False)
class Speaker:
    """What the frames that were seen tell of a person."""

    rest: Tensor = field(repr=False)
    """Their face at rest [468 3], in the mesh's pose."""
    span: Tensor
    """[] how far they open their mouth, in the average speaker's span."""
    widest_px: Tensor
    """[] the widest opening they may be given, over that at rest."""
    smile_px: Tensor
    """[] how far lips are apart at rest; they meet where speech closes them."""


@exact
def fit_speaker(decoder: MeshDecoder, landmarks: Tensor) -> Speaker:
    """The person seen in frames with `landmarks` [n 468 3].

    One frame alone is a photo: its expression is the person's own, and speech moves about it.
    """
    mesh = decoder.mesh
    none = decoder.opening_px.new_zeros(())
    if len(landmarks) == 1:
        rest = mesh.upright(landmarks, mesh.template)[0]
        smile = (lip_gap(rest) - lip_gap(mesh.template)).clamp_min(0)
        return Speaker(rest, none + USUAL_SPAN, USUAL_WIDEST * decoder.opening_px - smile, smile)
    rest = mesh.resting(landmarks)
    opening = mesh.motion(landmarks, rest) @ lip_gap(mesh.basis)
    span = opening.std() / decoder.opening_px
    spoken = ((span - SPEAKING[0]) / (SPEAKING[1] - SPEAKING[0])).clamp(0, 1)
    return Speaker(
        rest,
        torch.lerp(none + USUAL_SPAN, span.clamp(*SPAN), spoken),
        torch.lerp(USUAL_WIDEST * decoder.opening_px, BEYOND * opening.quantile(_WIDEST), spoken),
        none,
    )


@exact
def speak_as(
    decoder: MeshDecoder, speaker: Speaker, motion: Tensor, loudness: Tensor | None = None, *, strength: float = 1.0
) -> Tensor:
    """The average speaker's motion [t k] as this person moves; rest stays rest.

    With `loudness` [t], how much speech there is around each frame (0 to 1), lips that smile meet where it closes them.
    `strength` scales the motion, and from 1 on the limit of how far this mouth may open.
    """
    gaps = lip_gap(decoder.mesh.basis)
    least = gaps / gaps.square().sum()  # the least motion that opens by a pixel
    own = motion * speaker.span
    opening = own @ gaps
    nearly_closed = _CLOSED * decoder.opening_px * speaker.span
    meant = strength * _close(opening, nearly_closed)
    limited = _limit(meant, speaker.widest_px * max(1.0, strength))
    if loudness is not None:
        closed = (1 - opening / nearly_closed).clamp(0, 1)
        limited = limited - speaker.smile_px * closed * loudness
    return strength * own + (limited - strength * opening)[:, None] * least


_CLOSED = 0.7
"""Openings below this share of a person's deviation are on their way to a closure."""


def _close(opening: Tensor, nearly_closed: Tensor) -> Tensor:
    """Openings of which those below `nearly_closed` are smaller still.

    A network that says the mean of what may be meant hardly ever says that lips meet: on seven clips of free speech it
    does in 16 % of the frames and the people in 22 %, so in 22 %, and follows them as well as before.
    """
    share = (opening / nearly_closed).clamp(0, 1)
    return opening - nearly_closed * share * (1 - share)


def _limit(opening: Tensor, widest: Tensor) -> Tensor:
    """Openings that near `widest` and never pass it; smooth."""
    return widest - _ROOM_PX * torch.nn.functional.softplus((widest - opening) / _ROOM_PX)


@exact
def move_face(mesh: FaceMesh, speaker: Speaker, landmarks: Tensor, motion: Tensor) -> Tensor:
    """Faces [b 468 3] in the pose they have with their own motion replaced by `motion` [b k]."""
    return mesh.moved(landmarks, speaker.rest, motion - mesh.motion(landmarks, speaker.rest))


def match_weights(mesh: FaceMesh) -> Tensor:
    """What each coefficient's squared difference counts when two mouths are compared, [k]; by energy, 16 in all."""
    energy = mesh.basis.square().sum(dim=(1, 2))
    return 16 * energy / energy.sum()
