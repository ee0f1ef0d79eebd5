/* The names of harmonizer_surface.h until now, for one release. */
#ifndef HARMONIZER_VIDEO_H
#define HARMONIZER_VIDEO_H

#include "harmonizer_surface.h"

typedef hz_surface hz_video;
#define hz_renderer_enqueue_video hz_renderer_enqueue_surface

#endif
