"""What `render-webgl` is made of: a browser that is kept, its page, what may be drawn. Needs a Chromium."""
