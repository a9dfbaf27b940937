"""What Slicer's slice views and 3D views show of our results."""

import slicer

VISIBLE_FROM_ALL_SIDES = 0.4  # opacity of an overlay under which the CT is still read


def showOverlay(volumeNode, opacity: float = VISIBLE_FROM_ALL_SIDES) -> None:
    """Lay the volume over what the slice views show."""
    slicer.util.setSliceViewerLayers(foreground=volumeNode, foregroundOpacity=opacity)


def hideOverlay(volumeNode) -> None:
    """Take the volume away from the slice views that show it over another."""
    for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        if composite.GetForegroundVolumeID() == volumeNode.GetID():
            composite.SetForegroundVolumeID(None)


def centerOn(pointRas) -> None:
    """Bring a point (world RAS, mm) to the middle of every slice view and 3D view."""
    slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, *pointRas, slicer.vtkMRMLSliceNode.CenteredJumpSlice)
    for camera in slicer.util.getNodesByClass("vtkMRMLCameraNode"):
        moved = [to - was for to, was in zip(pointRas, camera.GetFocalPoint(), strict=True)]
        camera.SetPosition([at + by for at, by in zip(camera.GetPosition(), moved, strict=True)])
        camera.SetFocalPoint(pointRas)


def showSurface(segmentationNode, smoothing: float = 0.5) -> None:
    """Show the segmentation's closed surface in 3D, smoothed by a factor from 0 to 1 as in Segment Editor."""
    segmentation = segmentationNode.GetSegmentation()
    segmentation.SetConversionParameter("Smoothing factor", str(smoothing))
    segmentationNode.CreateClosedSurfaceRepresentation()
    segmentationNode.GetDisplayNode().SetVisibility(True)
    segmentationNode.GetDisplayNode().SetPreferredDisplayRepresentationName3D("Closed surface")
