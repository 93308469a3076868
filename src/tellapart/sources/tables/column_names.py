"""What people call the columns of a table of images, whatever the case, spaces, hyphens and
underscores.
"""

from __future__ import annotations

import re

# Names that mean the file of an image, and names that mean it unless there is one of the first.
PATH_NAMES = frozenset(
    {
        *("path", "paths", "file", "files", "filename", "filenames", "filepath", "filepaths"),
        *("image", "images", "imagepath", "imagepaths", "imagefile", "imagefiles", "imagefilename"),
        *("imagename", "imagenames", "img", "imgs", "imgpath", "imgfile", "imgfilename", "imgname"),
        *("relativepath", "relpath", "fullpath", "abspath", "absolutepath", "fname", "fpath"),
        *("idcode", "imagecode", "imagefullpath", "imgfullpath"),
        *("datei", "dateiname", "pfad", "bild", "fichier", "chemin", "archivo", "ruta", "imagen"),
        *("picture", "pictures", "photo", "photos", "picturepath", "photopath", "imagefilepath"),
    }
)
WEAK_PATH_NAMES = (
    *("imageid", "imgid", "imageids", "fileid", "photoid", "pictureid", "isicid", "imageindex"),
    *("imageurl", "imageuri", "imgurl", "photourl", "imagelink", "url", "uri", "link", "src"),
    *("sourceref", "key", "source", "id", "uuid", "uid", "name", "index"),
)

# Names that mean the class, and names of what people classify, which mean it unless there is one
# of the first.
LABEL_NAMES = frozenset(
    {
        *("label", "labels", "class", "classes", "classname", "classnames", "classlabel"),
        *("classlabels", "category", "categories", "categoryname", "target", "targets"),
        *("labelname", "labelnames", "targetname", "classid", "labelid", "categoryid", "targetid"),
        *("classindex", "labelindex", "classidx", "labelidx", "imagelabel", "imageclass"),
        *("klasse", "kategorie", "classe", "catégorie", "clase", "etiqueta", "étiquette"),
        *("truelabel", "groundtruth", "groundtruthlabel", "gt", "gtlabel", "ytrue"),
    }
)
WEAK_LABEL_NAMES = frozenset(
    {
        *("dx", "breed", "choice", "choices", "species", "diagnosis", "disease", "tag", "tags"),
        *("y", "truth", "annotation", "annotations", "variety", "cultivar", "findinglabels"),
        *("finding", "findings", "condition", "defect", "emotion", "expression", "commonname"),
        *("scientificname", "speciesname", "breedname", "diagnostic", "pathology", "grade"),
        *("severity", "celltype", "landcover", "landuse", "concept", "verdict"),
        *("diagnosiscode", "dxcode", "anomaly", "labelcode"),
    }
)

SPLIT_COLUMNS = (
    *("split", "splits", "subset", "set", "splitname", "dataset", "partition", "fold", "phase"),
    *("usage", "splitset", "datasplit", "traintest", "trainvaltest", "trainvalidtest"),
    *("mode", "mlsplit"),
)
# Columns of yes and no → the split of a yes.
YES_NO_SPLITS = {
    **dict.fromkeys(("isvalid", "isval", "isvalidation"), "val"),
    **dict.fromkeys(("istest", "istesting"), "test"),
    **dict.fromkeys(("istrain", "istraining"), "train"),
}

GROUP_NAMES = ("group", "groupid", "groups")
# Columns whose equal cells often should not be divided. They are proposed, never taken.
GROUP_LIKE_NAMES = (
    *("patientid", "patient", "patients", "subjectid", "subject", "participantid", "participant"),
    *("personid", "person", "individualid", "individual", "animalid", "plantid", "treeid"),
    *("lesionid", "lesion", "caseid", "case", "studyid", "study", "slideid", "slide", "sampleid"),
    *("specimenid", "specimen", "seriesid", "series", "sequenceid", "seqid", "videoid", "video"),
    *("clipid", "sessionid", "session", "burstid", "cameraid", "camera", "siteid", "site"),
    *("locationid", "location", "stationid", "hospital", "center", "centre", "plate", "plateid"),
    *("batch", "batchid", "donor", "donorid", "userid", "observer", "observerid", "module"),
)

KNOWN_NAMES = frozenset(
    {
        *PATH_NAMES,
        *WEAK_PATH_NAMES,
        *LABEL_NAMES,
        *WEAK_LABEL_NAMES,
        *SPLIT_COLUMNS,
        *YES_NO_SPLITS,
        *GROUP_NAMES,
        *GROUP_LIKE_NAMES,
    }
)


def plain(name: object) -> str:
    """The name of a column without case, spaces, hyphens and underscores. A frame may call its
    columns by numbers, which mean nothing.

    >>> plain(" Image-Path"), plain("class_name"), plain(3)
    ('imagepath', 'classname', '')
    """
    return re.sub(r"[\W_]+", "", name).casefold() if isinstance(name, str) else ""
