"""Pictures blended into one, as in Midjourney: `/blend`, and *Blend with…* on any message."""
