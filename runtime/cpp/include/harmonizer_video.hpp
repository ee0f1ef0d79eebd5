/* The names of harmonizer_surface.hpp until now, for one release. */
#ifndef HARMONIZER_VIDEO_HPP
#define HARMONIZER_VIDEO_HPP

#include "harmonizer_surface.hpp"
#include "harmonizer_video.h"

namespace harmonizer {

using VideoView = SurfaceView;

}  // namespace harmonizer

#endif
