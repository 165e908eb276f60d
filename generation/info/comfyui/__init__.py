"""ComfyUI's graphs: `graph` and `ui_format` read them, `values` and `chains` follow their links,
and `reading` makes of them what one picture was drawn with.

Sources: ComfyUI's `nodes.py`, `comfy_extras` and `execution.py`, the format of workflows of its
frontend, and the nodes of rgthree, Efficiency, Impact, KJ, WAS and pysssss.
"""
