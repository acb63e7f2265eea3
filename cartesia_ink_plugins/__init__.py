"""Cartesia Ink speech-to-text for Pipecat, LiveKit Agents and plain asyncio."""
