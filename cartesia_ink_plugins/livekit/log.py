"""The logger of the plugin, named as LiveKit's own plugins name theirs."""

import logging

logger = logging.getLogger("livekit.plugins.cartesia_ink")
