"""A folder that stands up before somebody who does not trust whoever made it, and how that one checks it. No torch."""
