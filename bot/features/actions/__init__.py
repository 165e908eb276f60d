"""What is done with a request and its pictures: by button, reaction or context menu."""
