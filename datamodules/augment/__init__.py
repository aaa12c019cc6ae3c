"""Augmentation of training images, from one description: image by image, or as whole batches."""
