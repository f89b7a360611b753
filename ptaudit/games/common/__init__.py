"""What several games share: how games are drawn, and how answers become numbers."""
