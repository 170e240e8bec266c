"""Pictures on disk <-> arrays, with what travels along: bit depth, alpha, ICC profile, EXIF, orientation."""

from shotnoise.images.files import MAX_PIXELS, READABLE, WRITABLE, list_pictures, open_image, save_image
from shotnoise.images.image import Image

__all__ = ["MAX_PIXELS", "READABLE", "WRITABLE", "Image", "list_pictures", "open_image", "save_image"]
