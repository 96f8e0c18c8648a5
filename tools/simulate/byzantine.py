"""Named behaviours of a faulty replica: {name: function(sim, i)}.

`sim.byzantine(i, "name")` calls the function once; it makes replica `i` behave so from then
on, by means of the scenario interface: `sim.filter_from(i, f)` is `on_frame` for what the device
sends by itself, `sim.filter_to` for what reaches it, `sim.send_as` passes by both, `sim.seal`
makes the tags. The device runs the real core all the while: a liar knows what it lies about.

Faulty replicas of one group tell the same lies (`Adversary.false_digest`), as an adversary that
controls them all would.

    byzantine_order.py   who proposes what, who votes for what, requests and replies
    byzantine_views.py   view change
    byzantine_state.py   checkpoints and state transfer
    byzantine_noise.py   mutations, replay, floods, all of them in turn
"""

from tools.simulate import byzantine_noise, byzantine_order, byzantine_state, byzantine_views

behaviours = {
    "mute": byzantine_order.mute,
    "mute_as_primary": byzantine_order.mute_as_primary,
    "withhold": byzantine_order.withhold,
    "slow": byzantine_order.slow,
    "starve": byzantine_order.starve,
    "equivocate": byzantine_order.equivocate,
    "lie_proposal": byzantine_order.lie_proposal,
    "lie_forwarded": byzantine_order.lie_forwarded,
    "lie_reply": byzantine_order.lie_reply,
    "big_mac": byzantine_order.big_mac,
    "lie_checkpoint": byzantine_state.lie_checkpoint,
    "lie_transfer": byzantine_state.lie_transfer,
    "lie_view_change": byzantine_views.lie_view_change,
    "lie_new_view": byzantine_views.lie_new_view,
    "view_change_storm": byzantine_views.view_change_storm,
    "ack_liar": byzantine_views.ack_liar,
    "lie_status": byzantine_noise.lie_status,
    "replay": byzantine_noise.replay,
    "flood": byzantine_noise.flood,
    "mutate": byzantine_noise.mutate,
}


def erratic(sim, i):
    """Any of them, another one each half second."""
    byzantine_noise.in_turn(sim, i, behaviours, 500)


behaviours["erratic"] = erratic
