"""Signed C2PA manifests of what a video was made by and from, and their verification; the only room that knows c2pa."""
