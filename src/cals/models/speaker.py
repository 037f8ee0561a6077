"""How one person's mouth moves: their face at rest, the span of their motion and its limit."""

from dataclasses import dataclass, field

import numpy as np

from cals.arrays import Array, convert_like, disable_autocast, get_namespace, lerp, measure_std, softplus, square
from cals.models.geometry import MeshGeometry, MotionDecoder, measure_lip_gap
from cals.types import F32

SPEAKING_STD_RANGE = (0.2, 0.4)
"""Standard deviations of mouth opening, relative to the average speaker's: below the first the person was silent, above
the second they spoke. Speakers who hardly open their mouths have 0.4 (GRID), silent people who breathe 0.1 to 0.3."""
SPAN_RANGE = (0.4, 3.0)
"""Smallest and largest span of a person, relative to the average speaker's: anything beyond is a tracking error."""
DEFAULT_SPAN = 1.5
"""Span of a person who was not observed speaking, above all in a photo. People in free speech open their mouths further
than the readers of the corpus."""
DEFAULT_MAX_OPENING = 5.5
"""The widest opening of such a person, lips at rest included, in standard deviations of the average speaker."""
MAX_OPENING_RATIO = 1.2
"""Limit of a mouth's opening, relative to the widest opening that was observed."""
_WIDEST_QUANTILE = 0.99
_LIMIT_SOFTNESS_PX = 0.5
"""Softness of the limit on the opening."""


@dataclass(frozen=True, eq=False)
class Speaker:
    """The parameters of a person's mouth motion, estimated from observed frames."""

    rest: Array = field(repr=False)
    """Face at rest [468 3], in the mesh's pose."""
    span: Array
    """[] Scale of the mouth motion, relative to the average speaker's."""
    max_opening_px: Array
    """[] Upper limit of the opening, relative to that at rest."""
    rest_gap_px: Array
    """[] Lip gap at rest, as in a smile; speech that closes the lips removes it."""


@disable_autocast
def fit_speaker(decoder: MotionDecoder, landmarks: Array) -> Speaker:
    """Fit the parameters of the person whose frames have `landmarks` [n 468 3].

    A single frame is a photo: its expression is taken as the rest position, and speech moves around it.
    """
    mesh = decoder.mesh
    zero = 0 * decoder.opening_px
    if len(landmarks) == 1:
        rest = mesh.align_to_rest(landmarks, mesh.template)[0]
        rest_gap = (measure_lip_gap(rest) - measure_lip_gap(mesh.template)).clip(0)
        return Speaker(rest, zero + DEFAULT_SPAN, DEFAULT_MAX_OPENING * decoder.opening_px - rest_gap, rest_gap)
    rest = mesh.estimate_rest(landmarks)
    opening = mesh.compute_motion(landmarks, rest) @ measure_lip_gap(mesh.basis)
    span = measure_std(opening) / decoder.opening_px
    widest = get_namespace(opening).quantile(opening, _WIDEST_QUANTILE)
    speaking = ((span - SPEAKING_STD_RANGE[0]) / (SPEAKING_STD_RANGE[1] - SPEAKING_STD_RANGE[0])).clip(0, 1)
    return Speaker(
        rest,
        lerp(zero + DEFAULT_SPAN, span.clip(*SPAN_RANGE), speaking),
        lerp(DEFAULT_MAX_OPENING * decoder.opening_px, MAX_OPENING_RATIO * widest, speaking),
        zero,
    )


@disable_autocast
def retarget_motion(
    decoder: MotionDecoder,
    speaker: Speaker,
    motion: Array,
    loudness: Array | None = None,
    *,
    strength: float | F32 = 1.0,
) -> Array:
    """Retarget the average speaker's motion [t k] to this person; zero motion stays zero.

    `loudness` [t] is how much speech there is around each frame (0 to 1): with it lips that are apart at rest close
    where speech closes them. `strength`, one or [t], scales the motion, and from 1 on the limit of the opening too.
    """
    scale = convert_like(np.asarray(strength, np.float32), motion)
    gaps = measure_lip_gap(decoder.mesh.basis)
    unit_opening = gaps / square(gaps).sum()  # the smallest motion that opens the mouth by a pixel
    scaled = motion * speaker.span
    opening = scaled @ gaps
    nearly_closed = _NEARLY_CLOSED * decoder.opening_px * speaker.span
    scaled_opening = scale * _deepen_closures(opening, nearly_closed)
    limited = _limit_opening(scaled_opening, speaker.max_opening_px * scale.clip(1))
    if loudness is not None:
        closure = (1 - opening / nearly_closed).clip(0, 1)
        limited = limited - speaker.rest_gap_px * closure * loudness
    return scale[..., None] * scaled + (limited - scale * opening)[:, None] * unit_opening


_NEARLY_CLOSED = 0.7
"""Openings below this share of a person's standard deviation count as nearly closed."""


def _deepen_closures(opening: Array, nearly_closed: Array) -> Array:
    """Reduce openings below `nearly_closed`.

    A network that predicts the mean of all plausible motions rarely closes the lips. On seven clips of free speech it
    did in 16 % of the frames, the people in 22 %; with this it does in 22 % and follows them as well as before.
    """
    share = (opening / nearly_closed).clip(0, 1)
    return opening - nearly_closed * share * (1 - share)


def _limit_opening(opening: Array, widest: Array) -> Array:
    """Limit openings to `widest`, smoothly."""
    return widest - _LIMIT_SOFTNESS_PX * softplus((widest - opening) / _LIMIT_SOFTNESS_PX)


@disable_autocast
def replace_motion(mesh: MeshGeometry, speaker: Speaker, landmarks: Array, motion: Array) -> Array:
    """Replace the motion of faces [b 468 3] by `motion` [b k]; their pose stays."""
    return mesh.add_motion(landmarks, speaker.rest, motion - mesh.compute_motion(landmarks, speaker.rest))


def compute_match_weights(mesh: MeshGeometry) -> Array:
    """Compute the weight of each coefficient's squared difference between two mouths, [k]: by energy, with sum 16."""
    energy = square(mesh.basis).sum((1, 2))
    return 16 * energy / energy.sum()
