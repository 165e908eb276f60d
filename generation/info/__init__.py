"""What programs say in a picture's file of how they made it. Pure; each text is a stranger's.

`found` holds what comes of it, `reading` tells the programs apart, and each has a file of its own;
`resolving` holds it against what is here, and `asking` makes a request of it.
"""
