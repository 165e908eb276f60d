"""The bot's end of workers on other hosts: which there are, what each has, who may draw what."""
