"""Pictures that come in and go out: uploads, attachments, thumbnails, and what decodes them."""
